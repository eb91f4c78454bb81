-- Stores the value ARGV[2] of the epoch ARGV[1] in the hash KEYS[1], unless a
-- later epoch is there. Returns whether it did, and the epoch that was there.
local held = redis.call('HGET', KEYS[1], 'epoch')
if held and tonumber(held) > tonumber(ARGV[1]) then
  return {0, held}
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'value', ARGV[2])
return {1, held}
