"""Message handlers: one decoded message in, rows of one payload table out. One module per family."""
