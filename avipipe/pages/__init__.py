"""Pages of one file that people work on in a browser: what they share, and the mask page."""
