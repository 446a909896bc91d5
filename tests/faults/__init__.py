"""Whether anything is done twice, lost, or kept silent when networks and servers fail: `python -m tests.faults --help`.

* tests.proxy: what a network does to commands and replies; `processes`: what happens to a server.
* `workload`: what workers do with each structure meanwhile, on both faces; `history`: what they saw.
* `checker`, `linearizability`: whether that can have been.
* `redis_py`: the same workloads over redis-py as it comes, which these checks must find wanting.
"""
