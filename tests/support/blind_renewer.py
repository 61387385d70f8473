# SPDX-License-Identifier: Apache-2.0
"""What a renewer must not be: it goes on when its controller is gone, and looks at no sign of progress."""

import json
import sys
import time

from chaosgpu.lease import renewer

if __name__ == "__main__":
    order = json.loads(sys.stdin.readline())
    lease = json.loads(sys.stdin.readline())["hold"]
    for _ in range(40):
        request = {"protocol": 1, "operator": "blind", "leases": [lease], "ttl_s": order["ttl_s"]}
        renewer.ask([*order["command"], "renew"], json.dumps(request).encode(), 5)
        time.sleep(order["ttl_s"] / 3)
