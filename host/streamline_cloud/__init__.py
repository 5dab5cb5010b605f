"""The cloud side: the bridge that takes what edges send, its store, and the commands that show what arrived.

Rule: it imports the core and streamline_host, never streamline_edge.
"""
