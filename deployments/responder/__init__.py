"""
A warm responder: a Prefect worker whose runs begin in processes that have imported everything already.

`worker.Responder` is told by events what is to run, and takes it. `zygote` is a second process, which has
imported the flows and does nothing else: for each run it forks one that begins at once, and then is gone.
"""

from medic8.unloaded import leave_out

leave_out()
