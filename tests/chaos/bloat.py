"""Table bloat: dead rows against live ones, and the size of tables that should be empty at rest."""

from dataclasses import dataclass

from django.db import connection

# Written and deleted once per order: at rest they hold nothing, and may not keep more room than this.
OUTBOXES = ("orders_intake", "orders_effectbatch")
OUTBOX_MIB = 16
# Autovacuum's own rule, twice: it comes at 50 + 20 % of the rows, and needs a moment.
_DEAD_BASE, _DEAD_SHARE = 2_000, 0.4
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Table:
    """One table as PostgreSQL's statistics have it; ``size`` in bytes, with indexes."""

    name: str
    live: int
    dead: int
    size: int
    vacuums: int

    @property
    def breach(self) -> str | None:
        """What is wrong with it."""
        if self.dead > _DEAD_BASE + _DEAD_SHARE * self.live:
            return f"{self.name}: {self.dead} dead rows beside {self.live} live ones"
        if self.name in OUTBOXES and self.size > OUTBOX_MIB * _MIB:
            return f"{self.name}: {self.size / _MIB:.1f} MiB for {self.live} rows"
        return None

    def __str__(self) -> str:
        return f"{self.name:<28}{self.live:>9}{self.dead:>9}{self.size / _MIB:>10.1f}{self.vacuums:>9}"


def tables() -> list[Table]:
    """All tables with rows or history, the largest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid), autovacuum_count + vacuum_count "
            "FROM pg_stat_user_tables WHERE n_tup_ins > 0 ORDER BY 4 DESC"
        )
        return [Table(*row) for row in cursor.fetchall()]
