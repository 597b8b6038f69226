"""The method: adapt a regressor to one video, guided by 2D evidence and by text."""
