"""Pieces of Altair charts that pictures share: colours, scales, panels, marks; and their files."""

import altair

# Altair refuses more than 5000 rows, which deep nets reach; pictures bound their rows themselves.
altair.data_transformers.disable_max_rows()
