"""What both host packages need and the core may not have: the codecs that stand on CPython libraries.

Rule: it imports the core and libraries; streamline_edge and streamline_cloud import it, never each other.
"""
