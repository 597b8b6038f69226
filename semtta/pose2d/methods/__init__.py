"""The methods, one file each; ``registry`` names them, ``strategy`` says what they share."""
