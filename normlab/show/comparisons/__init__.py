"""Many runs as one table over seeds: asked for, laid out, explained."""
