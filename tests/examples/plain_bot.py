"""A bot as a plain program: one order, its verdict. Run: `python plain_bot.py AGENT_ID`."""

import sys

from streams import connect, make_order
from streams.settings import load_settings


def main(agent_id: str) -> int:
    """Send one order and say what became of it."""
    with connect(load_settings(), agent_id) as bot:
        order = make_order(
            agent_id,
            symbol="BTC_USDT",
            side="BUY",
            quantity="0.001",
            ex_destination="XOFF",
            region="eu-west-1",
            expires_after_s=5,
        )
        answer = bot.submit(order, timeout_s=20)
    if answer.inclusion is None:
        for failure in answer.verdict.failures:
            print(f"{failure.reason}: limit {failure.limit}, observed {failure.observed} {failure.unit}")
        return 1
    log = answer.inclusion.checkpoint.origin
    print(f"approved; leaf {answer.inclusion.index} of {log}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
