"""Charts as SVG: pure functions from a page's content to markup."""
