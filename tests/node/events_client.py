"""Reads so many events of a node behind an id, and prints each as a line of JSON.

The client is httpx2, which the Python client of MCP brings with it.
"""

import json
import sys

import httpx2


def main() -> None:
    url, last, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with httpx2.Client(timeout=120) as client:
        with client.sse(url, headers={"Last-Event-ID": last}) as source:
            for number, event in enumerate(source, start=1):
                print(json.dumps({"event": event.event, "id": event.id, "data": event.data}))
                if number == count:
                    return


if __name__ == "__main__":
    main()
