"""The dashboard: one page, and the figures it asks for every two seconds."""

from understudy.serve.dashboard.board import Board
from understudy.serve.dashboard.page import HEADERS, PAGE

__all__ = ["HEADERS", "PAGE", "Board"]
