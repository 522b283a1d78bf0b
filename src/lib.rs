#![doc = "The Langfuse client whose flush can be trusted."]
