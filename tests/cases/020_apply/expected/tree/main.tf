resource "aws_s3_bucket" "data" {
  bucket = "data" # grün
  acl    = "private"
}

resource "aws_instance" "web" {
  ami = "ami-1"
  monitoring = true
}

resource "aws_s3_bucket_public_access_block" "data" {
  bucket = aws_s3_bucket.data.id
}
