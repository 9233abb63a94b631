"""A shop to try coupon policies in, with the truth known: customers, products, and what a coupon changes."""
