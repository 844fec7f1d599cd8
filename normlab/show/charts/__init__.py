"""Pieces of Altair charts that pictures share: colours, scales, panels, marks; and their files."""
