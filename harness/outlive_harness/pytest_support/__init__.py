"""What the pytest plugin needs once there are scenarios."""
