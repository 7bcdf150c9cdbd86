import org.apache.spark.sql.SparkSession;

/** A Spark application that knows nothing of this project. Arguments: ROWS FOLDER SECONDS, which it sleeps at its end. */
public class ClusterCopy {
    public static void main(String[] arguments) throws Exception {
        SparkSession spark = SparkSession.builder().appName("cluster copy").getOrCreate();
        spark.range(0, Long.parseLong(arguments[0]), 1, 2).selectExpr("id % 100 AS key").groupBy("key").count()
            .write().mode("overwrite").parquet(arguments[1]);
        Thread.sleep(1000L * Long.parseLong(arguments[2]));
        spark.stop();
    }
}
