"""The embedded services of this checkout: PostgreSQL, a MongoDB-compatible server, Java, Spark's jars and the demo's
data.

Everything it makes lies in the project's git-ignored folder `.local/`, listens on loopback only and asks
for a generated password. Real services replace each part through ordinary Airflow connections.
"""
