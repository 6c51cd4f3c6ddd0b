"""Two layers side by side, for compare: their images, units, similarities, tables and figures."""
