# Images of a small shop, and the topic on which its orders are announced.
resource "aws_ecr_repository" "shop" {
  name                 = "shop"
  image_tag_mutability = "MUTABLE" # the old pipeline pushed "latest"
}

resource "aws_sns_topic" "orders" {
  name = "orders"
}

resource "aws_sqs_queue" "orders" {
  name                      = "orders"
  message_retention_seconds = 86400
}
