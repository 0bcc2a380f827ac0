"""What a day's rows cost on AWS: requests that were counted, times list prices."""
