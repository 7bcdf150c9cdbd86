"""A Spark job that knows nothing of the tuner."""

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("report").getOrCreate()
rows = spark.range(100_000).selectExpr("id % 1000 AS flight").groupBy("flight").count()
print("rows", rows.count())
spark.stop()
