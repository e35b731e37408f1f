package sweeps

import (
	"context"
	"errors"
	"net"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"example.com/go-sockettest/sweep"
)

var mqttClient = subject{
	name: "paho", module: "github.com/eclipse/paho.mqtt.golang",
	does: "MQTT login, a subscription, a message of QoS 1 there and back; no reconnect",
	cfg:  sweep.Config{Server: serving(serveMQTT), Limit: 21 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		use := func(ctx context.Context) error {
			o := mqtt.NewClientOptions().AddBroker("tcp://" + c.Addr()).SetClientID("x").SetUsername("user").SetPassword("secret").SetProtocolVersion(4).
				SetConnectTimeout(timeout).SetWriteTimeout(timeout).SetKeepAlive(2 * time.Second).SetPingTimeout(2 * time.Second).SetAutoReconnect(false)
			o.SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt.ClientOptions) (conn net.Conn, err error) {
				err = within(ctx, func(ctx context.Context) error {
					conn, err = c.DialContext(ctx, "tcp", u.Host)
					return err
				})
				return conn, err
			})
			client := mqtt.NewClient(o)
			got := make(chan string, 1)
			wait := func(t mqtt.Token) error {
				if !t.WaitTimeout(timeout) {
					return errors.New("timed out")
				}
				return t.Error()
			}
			if err := wait(client.Connect()); err != nil {
				return err
			}
			defer c.Close(func() error { client.Disconnect(100); return nil })
			if err := wait(client.Subscribe("a", 1, func(_ mqtt.Client, m mqtt.Message) { got <- string(m.Payload()) })); err != nil {
				return err
			}
			if err := wait(client.Publish("a", 1, false, "hello")); err != nil {
				return err
			}
			limit := time.NewTimer(timeout)
			defer limit.Stop()
			select {
			case s := <-got:
				if s != "hello" {
					c.Errorf("got %q", s)
				}
				time.Sleep(time.Millisecond) // rules:allow virtual time; another goroutine sends the PUBACK
				return nil
			case <-limit.C:
				return errors.New("no message")
			}
		}
		err := use(ctx)
		c.Recovers(use)
		return err
	},
}

func serveMQTT(conn net.Conn) error {
	for {
		p, err := packets.ReadPacket(conn)
		if err != nil {
			return err
		}
		var answers []packets.ControlPacket
		switch p := p.(type) {
		case *packets.ConnectPacket:
			answers = append(answers, packets.NewControlPacket(packets.Connack))
		case *packets.SubscribePacket:
			a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			a.MessageID, a.ReturnCodes = p.MessageID, []byte{1}
			answers = append(answers, a)
		case *packets.PublishPacket:
			a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			a.MessageID = p.MessageID
			answers = append(answers, a, p)
		case *packets.PingreqPacket:
			answers = append(answers, packets.NewControlPacket(packets.Pingresp))
		case *packets.DisconnectPacket:
			return nil
		}
		for _, a := range answers {
			if err := a.Write(conn); err != nil {
				return err
			}
		}
	}
}
