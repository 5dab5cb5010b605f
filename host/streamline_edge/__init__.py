"""The edge agent on CPython: the asyncio shell around the core, its command line and its doors for applications.

Rule: everything that must be right lives in `streamline_core`; this package carries bytes, time and questions to it.
Never imports `streamline_cloud`. Imports nothing here, so that a command starts fast.
"""
