"""What is wrong, odd or worth a look in the harmonised cases of a study."""
