"""The map in other people's tools: a short module each, which imports its tool and is imported by name."""
