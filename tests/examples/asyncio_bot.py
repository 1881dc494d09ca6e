"""A bot on asyncio: ten orders at once, then what became of them. Run: `python asyncio_bot.py AGENT_ID`."""

import asyncio
import sys

from streams import BotClient, connect, make_order
from streams.client import OrderLinkError, VerdictTimeoutError
from streams.settings import load_settings


async def trade(bot: BotClient, agent_id: str, quantity: str) -> str:
    """Send one order; whatever is raised, it does not count as approved."""
    order = make_order(
        agent_id, symbol="BTC_USDT", side="SELL", quantity=quantity, ex_destination="XOFF", region="eu-west-1"
    )
    try:
        answer = await bot.submit_async(order, timeout_s=20)
    except (OrderLinkError, VerdictTimeoutError) as error:
        return f"nobody knows: {error}"
    return "approved" if answer.approved else str(answer.verdict.reason)


async def main(agent_id: str) -> int:
    """Send ten orders, the last of them too large."""
    async with connect(load_settings(), agent_id) as bot:
        quantities = ["0.001"] * 9 + ["1.9"]
        results = await asyncio.gather(*(trade(bot, agent_id, quantity) for quantity in quantities))
    print("\n".join(results))
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
