"""What belongs to a table, or points at it, and has to follow its name: indexes, triggers, foreign keys, views."""

import re
from dataclasses import dataclass
from typing import Any

from minivec.stores.postgres.reading import Reader

INDEXES = """
SELECT c.relname::text, i.indisprimary, i.indisunique, con.contype::text, pg_get_constraintdef(con.oid),
       substr(pg_get_indexdef(c.oid), 1 + length(format('CREATE %%sINDEX %%I ON %%I.%%I',
         CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, c.relname, n.nspname, t.relname))), i.indisvalid,
       EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
               AND d.refobjid = t.oid AND d.refobjsubid = %(number)s)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_constraint con ON con.conindid = c.oid AND con.conrelid = t.oid AND con.contype IN ('p', 'u', 'x')
WHERE i.indrelid = %(table)s ORDER BY c.relname
"""
TRIGGERS = """
SELECT tgname::text, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
WHERE tgrelid = %s AND NOT tgisinternal ORDER BY tgname
"""
SEQUENCES = """
SELECT a.attname::text, n.nspname::text, c.relname::text, c.oid
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %s
AND d.deptype IN ('a', 'i')
"""
SEQUENCE_GRANTS = """
SELECT privilege_type, CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee)::text END, is_grantable
FROM (SELECT (aclexplode(relacl)).*, relowner FROM pg_class WHERE oid = %s) x WHERE grantee IS DISTINCT FROM relowner
"""
# Foreign keys of other tables that point at the table; a partition's belongs to its parent's.
REFERRING = """
SELECT quote_ident(conname), conrelid::regclass::text, pg_get_constraintdef(con.oid), c.relkind = 'p', con.convalidated,
       pg_has_role(c.relowner, 'USAGE')
FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid
WHERE confrelid = %s AND conrelid <> confrelid AND contype = 'f' AND conparentid = 0 ORDER BY 2, 1
"""
# A table that nobody writes any more must not keep others from deleting what it refers to.
REFERRED = """
SELECT quote_ident(conname), pg_get_constraintdef(oid), convalidated FROM pg_constraint
WHERE conrelid = %s AND contype = 'f' AND conparentid = 0 ORDER BY 1
"""
VIEWS = """
SELECT v.oid::regclass::text, v.relkind::text, pg_get_viewdef(v.oid), array_to_string(v.reloptions, ', '),
       pg_has_role(v.relowner, 'USAGE'), bool_or(d.refobjsubid = %(number)s)
FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %(table)s
AND v.oid <> %(table)s GROUP BY v.oid, v.relkind, v.reloptions, v.relowner ORDER BY 1
"""
# Whatever else refers to the table itself, and would go on doing so under its new name.
BOUND = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d LEFT JOIN pg_policy p
  ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %(table)s
AND (d.classid = 'pg_proc'::regclass OR p.polrelid <> %(table)s) ORDER BY 1
"""
# Of a column that gets another name: what reads it and would go on reading the old one.
READS_COLUMN = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %(table)s AND d.refobjsubid = %(number)s
AND (d.classid IN ('pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass, 'pg_statistic_ext'::regclass)
     OR c.contype <> 'n' OR a.adnum <> d.refobjsubid) ORDER BY 1
"""
KIND = """
SELECT c.relkind::text, c.relispartition OR EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent)),
       pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text, n.nspname::text, c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s
"""


@dataclass(frozen=True)
class Index:
    """An index of a table; ``tail`` is its definition from USING on, ``on_vectors`` whether it reads that column."""

    name: str
    primary: bool
    unique: bool
    constraint: str | None
    definition: str | None
    tail: str
    valid: bool
    on_vectors: bool


@dataclass(frozen=True)
class Pointing:
    """What points at a table from outside: SQL that takes each away (``drops``), and that makes it again (``makes``).

    Both name the table as it is called now. ``proofs`` check foreign keys for the rows that are there, later.
    """

    drops: list[str]
    makes: list[str]
    proofs: list[str]
    told: list[str]
    tables: list[str]
    refused: list[str]


def indexes(table: Reader, column: str) -> list[Index]:
    """The indexes of a table; ``column`` has the vectors."""
    number = table._columns()[column].number
    return [Index(*row) for row in table._query(INDEXES, {"table": table._oid(), "number": number})]


def columns_readers(table: Reader, column: str) -> list[str]:
    """What reads a column and would go on reading it under another name."""
    places = {"table": table._oid(), "number": table._columns()[column].number}
    views = [f"view {view[0]}" for view in table._query(VIEWS, places) if view[-1]]
    return views + [what for (what,) in table._query(READS_COLUMN, places)]


def pointing(table: Reader, column: str) -> Pointing:
    """The foreign keys of other tables and the views that follow the table's name; a reason for each that cannot."""
    places = {"table": table._oid(), "number": table._columns()[column].number}
    found = Pointing([], [], [], [], [], [])
    for name, other, definition, parted, valid, owned in table._query(REFERRING, (places["table"],)):
        if not owned:
            found.refused.append(
                f"foreign key {name} of {other}: only the owner of {other} can point it at the new one"
            )
        later = not parted and " NOT VALID" not in definition
        found.tables.append(other)
        found.drops.append(f"ALTER TABLE {other} DROP CONSTRAINT {name}")
        found.makes.append(f"ALTER TABLE {other} ADD CONSTRAINT {name} {definition}" + " NOT VALID" * later)
        if valid and later:
            found.proofs.append(f"ALTER TABLE {other} VALIDATE CONSTRAINT {name}")
        found.told.append(f"foreign key {name} of {other} points at the new table")
    for name, kind, definition, options, owned, shows in table._query(VIEWS, places):
        if kind != "v" or shows or not owned:
            why = "is materialized" if kind != "v" else "reads the vectors" if shows else "belongs to another role"
            found.refused.append(f"view {name} {why}: drop it, cut over, and make it again")
            continue
        chosen = f" WITH ({options})" if options else ""
        found.makes.append(f"CREATE OR REPLACE VIEW {name}{chosen} AS {definition}")
        found.told.append(f"view {name} reads the new table")
    for (what,) in table._query(BOUND, places):
        found.refused.append(f"{what} refers to the table itself: drop it, cut over, and make it again")
    return found


def on_new_vectors(tail: str, old: Any, new: Any) -> str:
    """The definition of an index from USING on, for the column of ``new`` (name, type, width) in place of ``old``."""
    name, kind, width = old
    new_name, new_kind, new_width = new
    tail = re.sub(rf"(?<![\w\"']){re.escape(name)}(?![\w\"'])", lambda _: new_name, tail)
    tail = re.sub(rf"\b(vector|halfvec|bit)\({width}\)", rf"\1({new_width})", tail)
    return tail if kind == new_kind else re.sub(rf"\b{kind}_(\w+_ops)\b", rf"{new_kind}_\1", tail)
