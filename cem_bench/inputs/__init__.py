"""What a network is given: images, regions, scenes, degradations, donors, interventions."""
