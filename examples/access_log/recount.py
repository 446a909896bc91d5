"""The same data read under asyncio: as many tasks at once as there are paths, over one connection."""

import asyncio

from redisext import AsyncSortedSet, aconnect


async def recount(url: str, prefix: str) -> tuple[int, int]:
    """How many tasks each asked for the hits of one path, and how many hits those are together."""
    async with aconnect(url, prefix=prefix) as db:
        paths = AsyncSortedSet[str]("paths", db)
        hits = await asyncio.gather(*[paths.score(path) async for path in paths])
    return len(hits), round(sum(one or 0 for one in hits))
