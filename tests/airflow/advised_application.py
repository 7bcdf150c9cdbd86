"""A Spark application as people have them, which knows nothing of this project. Arguments: ROWS FOLDER"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

rows, folder = int(sys.argv[1]), sys.argv[2]
spark = SparkSession.builder.appName("advised application").getOrCreate()
keyed = spark.range(rows, numPartitions=4).withColumn("key", F.col("id") % 1000)
keyed.write.mode("overwrite").parquet(folder)
stored = spark.read.schema("id long, key long").parquet(folder)
totals = stored.groupBy("key").agg(F.sum("id").alias("total"))
print("keys:", totals.where("total > 0").count())
spark.stop()
