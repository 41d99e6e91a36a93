"""Apache Kafka, started by us: Java, jars, one KRaft broker per region."""
