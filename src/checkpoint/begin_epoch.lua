-- Begins an epoch in the hash KEYS[1]: one more than the epoch that is there, and
-- ARGV[1] at least. Returns it, as text, with the value that is there.
-- Epochs are milliseconds since 1970, or a little more: doubles hold them
-- exactly.
local held = redis.call('HMGET', KEYS[1], 'epoch', 'value')
local epoch = tonumber(ARGV[1])
if held[1] and tonumber(held[1]) >= epoch then
  epoch = tonumber(held[1]) + 1
end
epoch = string.format('%.0f', epoch)
redis.call('HSET', KEYS[1], 'epoch', epoch)
return {epoch, held[2]}
