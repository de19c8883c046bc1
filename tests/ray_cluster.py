"""A cluster of Ray on this machine, in a process of its own: python ray_cluster.py

Reads a line a command from standard input and answers each with a line: `add {JSON of a node}`
starts a node, `kill N` kills that node and its workers as a machine dies, `stop` ends it all. The
first line that it prints is the cluster's address. Nothing listens beyond loopback.
"""

import json
import logging
import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # which has Ray listen on loopback alone

MEMORY = 80 * 2**20  # of a node's object store, which holds nothing


def main() -> None:
    from ray.cluster_utils import Cluster

    logging.disable(logging.CRITICAL)
    small = {"object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(
        initialize_head=True, connect=False, head_node_args={"num_cpus": 0, "num_gpus": 0, **small}
    )
    print(cluster.address, flush=True)
    nodes = []
    try:
        for line in sys.stdin:
            command, _, what = line.strip().partition(" ")
            if command == "add":
                nodes.append(cluster.add_node(wait=False, **small, **json.loads(what)))
            elif command == "kill":
                cluster.remove_node(nodes[int(what)], allow_graceful=False)
            else:
                break
            print("ok", flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
