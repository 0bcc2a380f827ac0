"""What the stack writes as tables of the Glue Data Catalog, for Athena. Pure: from schemas and declarations alone."""

from services.console.catalog.bronze import merged, table_of, widest
from services.console.catalog.glue import GLUE_TYPES, glue_type
from services.console.catalog.written import places, written_table

__all__ = ["GLUE_TYPES", "glue_type", "merged", "places", "table_of", "widest", "written_table"]
