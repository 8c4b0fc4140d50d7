"""Public datasets into MCAP recordings, faithfully: clocks, gaps and duplicate stamps as recorded."""
