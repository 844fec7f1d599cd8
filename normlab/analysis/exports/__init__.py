"""Runs to other programs: a module for each kind of export."""
