"""What all tables have in common: how they name things, and their kinds of columns.

Times are seconds since 1970 (UTC) as floating-point numbers, quantities whole numbers in the units
of ``gateway.domain.plans``.
"""

from sqlalchemy import BigInteger, Column, Double, MetaData, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def time_column(name: str, *, nullable: bool = True) -> Column[float]:
    """A moment."""
    return Column(name, Double, nullable=nullable)


def amount_column(name: str, *, nullable: bool = True) -> Column[int]:
    """A quantity that may outgrow 32 bits."""
    return Column(name, BigInteger, nullable=nullable)


def text_column(name: str, *, nullable: bool = True) -> Column[str]:
    """Any text."""
    return Column(name, Text, nullable=nullable)


def key_column(name: str = "id") -> Column[str]:
    """The primary key, or a part of it."""
    return Column(name, Text, primary_key=True)
