# Everything that runs on Linux. Without sync it is a local log: no link, no TLS.
options.defaults(sync=True)
include("../../firmware/manifest.py", sync=options.sync, mqtt=options.sync, serial=options.sync)
