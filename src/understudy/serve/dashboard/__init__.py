"""The dashboard: one page, and the figures it asks for every two seconds."""
