"""The planner's ports: plans over S3, entities in the sources that hold them."""
