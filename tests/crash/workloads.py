"""The workloads that there are, by name."""

from fork_workload import ForkWorkload
from keyed_workload import KeyedWorkload
from log_workload import LogWorkload
from node_workload import NodeWorkload
from rewind_workload import RewindWorkload
from slots_workload import SlotsWorkload

WORKLOADS = {found.name: found for found in (SlotsWorkload, LogWorkload, ForkWorkload, NodeWorkload, RewindWorkload, KeyedWorkload)}
