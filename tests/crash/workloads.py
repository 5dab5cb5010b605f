"""The workloads that there are, by name."""

from fork_workload import ForkWorkload
from log_workload import LogWorkload
from node_workload import NodeWorkload
from slots_workload import SlotsWorkload

WORKLOADS = {found.name: found for found in (SlotsWorkload, LogWorkload, ForkWorkload, NodeWorkload)}
