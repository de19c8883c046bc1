from scaling.data.procedural import Procedural

Source = Procedural
