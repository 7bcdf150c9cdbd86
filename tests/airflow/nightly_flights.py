"""A nightly Spark job that knows nothing of this project: it copies some months of flights. Arguments: DAY BATCH"""

import os
import sys
from datetime import date
from urllib.parse import urlsplit

from pyspark.sql import SparkSession


def jdbc(variable: str) -> tuple[str, dict[str, str]]:
    address = urlsplit(os.environ[variable])
    url = f"jdbc:postgresql://{address.hostname}:{address.port}{address.path}"
    return url, {"user": address.username or "", "password": address.password or "", "driver": "org.postgresql.Driver"}


day, batch = date.fromisoformat(sys.argv[1]), sys.argv[2]
first = 1 + day.toordinal() % 7
last = first + 2 + day.toordinal() % 3  # three to five months: start-up is the smaller part of a run
spark = SparkSession.builder.appName("nightly flights").getOrCreate()
source, access = jdbc("FLIGHTS_SOURCE")
query = f"(SELECT * FROM flights WHERE month BETWEEN {first} AND {last}) AS chosen"
rows = spark.read.jdbc(source, query, properties={**access, "fetchsize": "5000"})
target, access = jdbc("FLIGHTS_TARGET")
rows.write.jdbc(target, f"night_{day:%Y_%m_%d}", "overwrite", {**access, "batchsize": batch})
loaded = spark.read.jdbc(target, f"night_{day:%Y_%m_%d}", properties=access).count()
print("loaded", loaded, "rows")
spark.stop()
