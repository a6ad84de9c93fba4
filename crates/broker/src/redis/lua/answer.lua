-- Keeps a node's answer to a question for the node that has asked.
-- KEYS  1 answers     ARGV  1 lease  2 answer  3 life of the answers, s
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
