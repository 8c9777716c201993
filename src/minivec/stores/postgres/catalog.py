"""What PostgreSQL's catalog says about a table: its columns, and all that belongs to it."""

from dataclasses import dataclass

COLUMNS = """
SELECT a.attname, t.typname, tn.nspname, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnum, a.attnotnull,
       a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid),
       CASE WHEN a.attcollation NOT IN (0, t.typcollation)
            THEN (SELECT format('%%I.%%I', nspname, collname) FROM pg_collation c
                  JOIN pg_namespace n ON n.oid = collnamespace WHERE c.oid = a.attcollation) END,
       CASE WHEN a.attstorage <> t.typstorage
            THEN CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN'
                 ELSE 'EXTENDED' END END,
       col_description(a.attrelid, a.attnum),
       ARRAY(SELECT refobjsubid FROM pg_depend WHERE classid = 'pg_attrdef'::regclass AND objid = d.oid
             AND refobjid = a.attrelid AND refobjsubid > 0)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# Columns of unique keys by their own equality, the primary key and short ones first.
UNIQUE = """
SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int[]) WITH ORDINALITY AS k(number, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
             WHERE k.place <= i.indnkeyatts ORDER BY k.place)
FROM pg_index i
WHERE i.indrelid = %s AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid
AND NOT EXISTS (SELECT FROM unnest(i.indkey::int[], i.indcollation::oid[]) AS k(number, used)
                JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
                JOIN pg_collation c ON c.oid = a.attcollation
                WHERE NOT c.collisdeterministic AND k.used <> a.attcollation)
ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
"""
# Sequences that belong to a column: of identity ('i') and of serial ('a').
SEQUENCES = """
SELECT a.attname, s.seqrelid::regclass::text, s.seqtypid::regtype::text, format(
         'START %%s INCREMENT %%s MINVALUE %%s MAXVALUE %%s CACHE %%s', s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
         s.seqcache) || CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END,
       s.seqincrement > 0,
       CASE WHEN has_sequence_privilege(s.seqrelid, 'USAGE, SELECT') THEN pg_sequence_last_value(s.seqrelid) END
FROM pg_depend d JOIN pg_sequence s ON s.seqrelid = d.objid
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %s
AND d.deptype IN ('a', 'i')
"""
CONSTRAINTS = """
SELECT conname, contype, pg_get_constraintdef(oid), confrelid = conrelid, confrelid::regclass::text,
       obj_description(oid, 'pg_constraint')
FROM pg_constraint WHERE conrelid = %s AND contype IN ('c', 'f') ORDER BY contype, conname
"""
GRANTS = """
SELECT privilege_type, attname, CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, is_grantable FROM (
  SELECT (aclexplode(relacl)).*, NULL::name AS attname, relowner FROM pg_class WHERE oid = %s
  UNION ALL SELECT (aclexplode(attacl)).*, attname, NULL::oid FROM pg_attribute WHERE attrelid = %s AND NOT attisdropped
) x WHERE grantee IS DISTINCT FROM relowner ORDER BY 3, 2, 1
"""
POLICIES = """
SELECT polname, polpermissive, polcmd, ARRAY(SELECT pg_get_userbyid(r)::text FROM unnest(polroles) r WHERE r <> 0),
       pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
FROM pg_policy WHERE polrelid = %s ORDER BY polname
"""
TABLE = """
SELECT relpersistence = 'u', array_to_string(reloptions, ', '), obj_description(oid, 'pg_class'), relrowsecurity,
       relforcerowsecurity FROM pg_class WHERE oid = %s
"""
# What belongs to a table and does not come along to a new one, in words.
LEFT = """
SELECT format('index %%s (%%s)', indexrelid::regclass, amname) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
JOIN pg_am ON pg_am.oid = c.relam WHERE indrelid = %(table)s AND NOT indisprimary
UNION ALL SELECT format('trigger %%s', tgname) FROM pg_trigger WHERE tgrelid = %(table)s AND NOT tgisinternal
UNION ALL SELECT format('rule %%s', rulename) FROM pg_rewrite WHERE ev_class = %(table)s AND rulename <> '_RETURN'
UNION ALL SELECT format('foreign key %%s of %%s, which goes on pointing to the old table', conname, conrelid::regclass)
  FROM pg_constraint WHERE confrelid = %(table)s AND conrelid <> %(table)s AND contype = 'f' AND conparentid = 0
UNION ALL SELECT format('partitions by %%s', pg_get_partkeydef(oid)) FROM pg_class
  WHERE oid = %(table)s AND relkind = 'p'
UNION ALL SELECT format('inheritance from %%s', inhparent::regclass) FROM pg_inherits WHERE inhrelid = %(table)s
UNION ALL SELECT format('publication %%s', pubname) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
  WHERE prrelid = %(table)s
UNION ALL SELECT format('statistics %%s', stxname) FROM pg_statistic_ext WHERE stxrelid = %(table)s
UNION ALL SELECT format('owner %%s', pg_get_userbyid(relowner)) FROM pg_class
  WHERE oid = %(table)s AND pg_get_userbyid(relowner) <> current_user
"""
# Triggers and rules that an UPDATE of a column that none of them names sets off, and indexes it has to keep.
FIRED = """
SELECT format('trigger %%s (%%s)', tgname, tgfoid::regproc), tgenabled IN ('A', 'R') FROM pg_trigger
WHERE tgrelid = ANY(%(tables)s) AND NOT tgisinternal AND tgenabled <> 'D' AND (tgtype & 16) <> 0
AND cardinality(tgattr::int[]) = 0
UNION SELECT format('rule %%s', rulename), ev_enabled IN ('A', 'R') FROM pg_rewrite
WHERE ev_class = ANY(%(tables)s) AND ev_type = '2' AND ev_enabled <> 'D'
"""
TREE = "SELECT relid::oid FROM pg_partition_tree(%s) UNION SELECT %s::oid"
DENSE = """
SELECT format('%%s (%%s)', indexrelid::regclass, amname) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
JOIN pg_am ON pg_am.oid = c.relam WHERE indrelid = ANY(%s) AND amname IN ('hnsw', 'ivfflat', 'diskann', 'vchordrq')
"""
# The search path with the schemas of the types of these columns, and of those that are domains over others.
PATH = """
WITH RECURSIVE types AS (
  SELECT t.* FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = %s AND a.attname = ANY(%s)
  UNION ALL SELECT b.* FROM types t JOIN pg_type b ON b.oid = t.typbasetype)
SELECT concat_ws(', ', nullif(current_setting('search_path'), ''), string_agg(DISTINCT quote_ident(nspname), ', '))
FROM types JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname <> ALL(current_schemas(true)) HAVING count(*) > 0
"""
# The schema of a type of pgvector.
KIND = """
SELECT n.nspname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typname = %s AND EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND e.extname = 'vector')
"""


@dataclass(frozen=True)
class Column:
    """A column; ``needs`` are the numbers of those that its default or expression reads."""

    name: str
    type: str
    type_schema: str
    modifier: int
    definition: str
    number: int
    required: bool
    identity: str
    generated: str
    expression: str | None
    collation: str | None
    storage: str | None
    comment: str | None
    needs: list[int]


@dataclass(frozen=True)
class Counter:
    """A sequence of a column of identity or serial; ``last`` is None where it has given no number yet."""

    column: str
    name: str
    type: str
    options: str
    rising: bool
    last: int | None
